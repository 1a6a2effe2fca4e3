// The services' rows, kept from message to message: with many services, each message has some of them, without what
// only a change of the configuration changes.
const NO_TRAFFIC = { requests: 0, errors: 0, client_errors: 0, hits: 0, misses: 0, p50: null, p95: null, p99: null };
const NO_TOTALS = { requests: 0, hits: 0, misses: 0, saved_calls: 0, saved_seconds: 0, saved_usd: 0 };
const NO_CIRCUIT = { failures: 0, successes: 0, until: null, reason: "", hold_offs: [], quotas: {} };
const SPARKLINE = 30; // minutes

const withRate = (figures) => {
  const lookups = figures.hits + figures.misses;
  return { ...figures, hit_rate: lookups ? (100 * figures.hits) / lookups : 0 };
};

const withTraffic = (figures) => withRate({ ...NO_TRAFFIC, ...figures });
const withTotals = (figures) => withRate({ ...NO_TOTALS, ...figures });

function conditionsOf(targets, unwell) {
  return targets.map((target, index) => {
    const [condition, workers] = unwell[index] ?? ["up", ""];
    return { weight: 1, canary: 0, always_up: false, ...target, condition, workers };
  });
}

/** The row as of `minute` (since the epoch). `known` is the same row earlier, if there is one. */
function completed(row, known, minute) {
  const targets = row.targets ?? known.configured.targets;
  const configured = { enabled: row.enabled ?? known.configured.enabled, targets, labels: row.targets ? row.labels ?? {} : known.configured.labels };
  return {
    faults: [], is_out: false, tone: "", ...row, ...configured, configured, minute,
    targets: conditionsOf(targets, row.unwell ?? {}),
    circuit: { ...NO_CIRCUIT, ...row.circuit },
    recent: withTraffic(row.recent),
    total: withTotals(row.total),
    sparkline: row.sparkline.length < SPARKLINE && known ? joined(known, row.sparkline, minute) : row.sparkline,
  };
}

/** The known minutes with the latest ones, which end with `minute`. */
function joined(known, latest, minute) {
  const passed = Math.max(0, minute - known.minute);
  const moved = [...known.sparkline.slice(passed), ...Array(Math.min(passed, SPARKLINE)).fill(0)];
  return [...moved.slice(0, SPARKLINE - latest.length), ...latest];
}

export class Rows {
  /** `onChange()` is called if rows may be missing or too many, or their minutes are unknown. */
  constructor(onChange) {
    this.onChange = onChange;
    this.rows = new Map();
    this.version = null;
  }

  /** The message with the rows of all services, by name. Zeros and empty values are not sent. */
  merge(message) {
    const minute = Math.floor(message.summary.at / 60);
    const isStale = message.services.some(({ name }) => minute - (this.rows.get(name)?.minute ?? minute) > 1);
    if (!message.is_complete && (isStale || (this.version !== null && message.version !== this.version))) this.onChange();
    const earlier = this.rows;
    if (message.is_complete) this.rows = new Map();
    this.version = message.version;
    for (const row of message.services) {
      const known = earlier.get(row.name);
      if (row.targets || known) this.rows.set(row.name, completed(row, known, minute));
    }
    const names = [...this.rows.keys()].sort();
    const { summary } = message;
    return {
      ...message,
      summary: { ...summary, recent: withTraffic(summary.recent), total: withTotals(summary.total) },
      services: names.map((name) => this.rows.get(name)),
    };
  }
}
