// The form of a service's or a route's settings: pickers, conditions, the YAML tab, and what saving would change.
import { startConditions } from "./conditions.js";
import { startPickers } from "./picker.js";
import { startPreview } from "./preview.js";
import { startYaml } from "./yaml.js";

const form = document.querySelector("form#service_form, form#route_form");
startPickers(document);
if (form) {
  startConditions(form);
  startYaml(form);
  startPreview(form);
}
