// What scrolls in its own place can be reached and scrolled by the keyboard.
document.addEventListener("DOMContentLoaded", () => {
  for (const part of document.querySelectorAll("pre, figure, .text_html, .table-wrapper, .math-block")) {
    part.tabIndex = 0;
  }
});
