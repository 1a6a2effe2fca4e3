// The overview: key figures, the table of services, and the history of all services.
import { api, confirmFlush, perform, warm, warmed } from "./actions.js";
import { find, setText, setTone } from "./dom.js";
import { setDisabled } from "./focus.js";
import { plural, time } from "./format.js";
import { showHistory } from "./history.js";
import { headline, Incidents } from "./incident.js";
import { announce, RateMeter, showFigures, showOpen, stateName, subscribe } from "./page.js";
import { sentence } from "./sentences.js";
import { servicesTable } from "./services.js";
import { gettext } from "./i18n.js";

const rate = new RateMeter();
const states = new Map();
const current = new Map();
const incidentCards = new Incidents(find("#incidents"));
const table = servicesTable(find("#services-table"), (name) => current.get(name));

function announceTransition(service) {
  const before = states.get(service.name);
  states.set(service.name, service.circuit.state);
  if (before && before !== service.circuit.state) {
    announce(gettext("The circuit of %s is now %s. %s", service.name, stateName(service.circuit.state).toLowerCase(), sentence(service.circuit.reason)));
  }
}

/** Say that the shared store is unavailable, and whether there is any circuit to reset. */
function showNotice(summary, services) {
  const box = find("#verdict");
  setDisabled(button("reset-all"), services.every((service) => service.circuit.state === "CLOSED" && !service.circuit.hold_offs.length));
  box.hidden = summary.connected;
  setTone(box, "warn");
  setText(box, summary.connected ? "" : gettext("The shared store is unavailable: each worker uses its local state."));
}

const known = new Set();

/** Announce incidents that are new, apart from circuits, whose transitions are announced. */
function announceIncidents(incidents) {
  for (const incident of incidents) {
    if (!known.has(incident.service) && incident.phase === "active" && incident.signals[0].kind !== "circuit") announce(`${incident.service || gettext("Quotas")}: ${headline(incident)}`);
  }
  known.clear();
  incidents.forEach(({ service }) => known.add(service));
}

function show({ summary, services, incidents, more_incidents: more }) {
  current.clear();
  incidents.forEach((incident) => current.set(incident.service, incident));
  table.show(services);
  services.forEach(announceTransition);
  find("#no-services").hidden = services.length > 0;
  find("#services-table").hidden = services.length === 0;
  showOpen(summary.open_circuits);
  showFigures({ ...summary, perSecond: rate.add(summary.at, summary.total.requests, summary.per_second) });
  showNotice(summary, services);
  announceIncidents(incidents);
  incidentCards.show(incidents, services, summary.at, more);
  setText(find("#since"), gettext("All workers, as of %s", time(summary.at)));
}

const button = (name) => find(`[data-do="${name}"]`);
const refresh = showHistory(null);
button("reset-all").addEventListener("click", (event) => perform(event.target, api.resetAll, ({ reset }) => gettext("%s reset.", plural(reset.length, "circuit", "circuits"))));
button("warm").addEventListener("click", (event) => perform(event.target, () => warm(), warmed));
button("flush-all").addEventListener("click", () => confirmFlush(null, refresh));
subscribe(show);
