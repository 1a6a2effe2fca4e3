// Names for what Unfold's scroll bars make of the sidebar and the list: two regions "scrollable content".
window.addEventListener("load", () => {
  const names = { "#nav-sidebar": "Navigation", "#changelist": "Results" };
  for (const region of document.querySelectorAll(".simplebar-content-wrapper[role=region]")) {
    const place = Object.keys(names).find((selector) => region.closest(selector));
    if (place) region.setAttribute("aria-label", names[place]);
  }
});
