// What the theme's script makes while a page is read, so that keyboards and screen readers get along with it: a wide
// table scrolls by itself, and the buttons of each block of code have a name.
let blocks = 0;
function amend() {
  for (const one of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) one.tabIndex = 0;
  for (const one of document.querySelectorAll(".md-code__nav:not([aria-label])")) one.ariaLabel = `Code ${++blocks}`;
}
new MutationObserver(amend).observe(document.documentElement, { childList: true, subtree: true });
amend();
