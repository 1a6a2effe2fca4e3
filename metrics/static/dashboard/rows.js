// The services' rows, kept from message to message: with many services, each message has some of them.
const NO_TRAFFIC = { requests: 0, errors: 0, client_errors: 0, hits: 0, misses: 0, hit_rate: 0, p50: null, p95: null, p99: null };
const NO_TOTALS = { requests: 0, hits: 0, misses: 0, hit_rate: 0, saved_calls: 0, saved_seconds: 0, saved_usd: 0 };
const NO_CIRCUIT = { failures: 0, successes: 0, total_requests: 0, until: null, reason: "", hold_offs: [], quotas: {} };

const completed = (row) => ({
  faults: [], is_out: false, ...row,
  circuit: { ...NO_CIRCUIT, ...row.circuit },
  recent: { ...NO_TRAFFIC, ...row.recent },
  total: { ...NO_TOTALS, ...row.total },
});

export class Rows {
  /** `onChange()` is called if the configuration has changed and some rows may be missing or too many. */
  constructor(onChange) {
    this.onChange = onChange;
    this.rows = new Map();
    this.version = null;
  }

  /** The message with the rows of all services, by name. Zeros and empty values are not sent. */
  merge(message) {
    if (message.is_complete) this.rows.clear();
    else if (this.version !== null && message.version !== this.version) this.onChange();
    this.version = message.version;
    for (const row of message.services) this.rows.set(row.name, completed(row));
    const names = [...this.rows.keys()].sort();
    const { summary } = message;
    return {
      ...message,
      summary: { ...summary, recent: { ...NO_TRAFFIC, ...summary.recent }, total: { ...NO_TOTALS, ...summary.total } },
      services: names.map((name) => this.rows.get(name)),
    };
  }
}
