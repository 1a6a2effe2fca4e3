// Times that the server has written in UTC show the viewer's own time, with its zone, as they are pointed at.
import { timeAttributes } from "./format.js";

document.addEventListener("pointerover", ({ target }) => {
  const time = target.closest?.("time[datetime]:not([title])");
  if (time) time.title = timeAttributes(Date.parse(time.dateTime) / 1000).title;
});
