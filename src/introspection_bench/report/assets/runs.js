"use strict";
/* Loads the page again while a run goes on, as long as the reader wants it to. */
const box = document.getElementById("follow");
if (box) {
  const OFF = "#still";
  box.checked = location.hash !== OFF;
  box.addEventListener("change", () => history.replaceState(null, "", box.checked ? location.pathname : OFF));
  setInterval(() => { if (box.checked && !document.hidden) location.reload(); }, Number(box.dataset.seconds) * 1000);
}
