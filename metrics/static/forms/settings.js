// A form of settings: pickers, rows, the YAML tab, what saving would change, and why it was not saved.
import { startErrors } from "./errors.js";
import { startPickers } from "./picker.js";
import { startPreview } from "./preview.js";
import { startRows } from "./rows.js";
import { startYaml } from "./yaml.js";

startPickers(document);
startRows(document);
// A row that was added to a table below the form.
document.addEventListener("formset:added", ({ target }) => startPickers(target));
const form = document.querySelector("form:has(textarea[data-yaml])");
if (form) {
  startYaml(form);
  startPreview(form);
  startErrors(form);
}
