// Brings the page's parts up to date every few seconds. Without it the page is the same, until it is loaded again.
"use strict";
(() => {
  const SECONDS = 5;
  const pause = document.getElementById("pause");
  let paused = false;

  function replace(old, fresh) {
    if (old.isEqualNode(fresh) || old.contains(document.activeElement)) return;
    const open = new Set([...old.querySelectorAll("details[open]")].map((one) => one.dataset.key));
    for (const one of fresh.querySelectorAll("details")) one.open = open.has(one.dataset.key);
    if (!old.isEqualNode(fresh)) old.replaceWith(fresh);
  }

  async function look() {
    if (paused || document.hidden) return;
    try {
      const answer = await fetch("/parts", { cache: "no-store", signal: AbortSignal.timeout(SECONDS * 2000) });
      if (!answer.ok) throw new Error(answer.statusText);
      const found = new DOMParser().parseFromString(await answer.text(), "text/html");
      for (const fresh of found.querySelectorAll("[data-part]")) {
        const old = document.querySelector(`[data-part="${fresh.dataset.part}"]`);
        if (old) replace(old, document.adoptNode(fresh));
      }
      document.body.dataset.looked = String(Number(document.body.dataset.looked || 0) + 1);
      delete document.body.dataset.lost;
    } catch {
      document.body.dataset.lost = "";
    }
  }

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    if (!paused) look();
  });
  setInterval(look, SECONDS * 1000);
})();
