// The button that prints the page.
import { find } from "./dom.js";

const button = find("#print");
button.hidden = false;
button.addEventListener("click", () => print());
