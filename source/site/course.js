mermaid.initialize({startOnLoad: true, theme: "neutral", securityLevel: "strict"});
document.addEventListener("DOMContentLoaded", () => {
  // What scrolls must be reachable by keyboard.
  for (const box of document.querySelectorAll("pre, .cell_output .output, table")) {
    box.tabIndex = 0;
  }
  // The theme's label says less than the button's text.
  for (const button of document.querySelectorAll(".search-button-field")) {
    button.removeAttribute("aria-label");
  }
});
