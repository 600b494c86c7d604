/** What an on-screen keyboard leaves of the window. */

/**
 * Keeps the page above the keyboard where the browser lays the keyboard over it (iOS); others shrink the page by
 * themselves, as `interactive-widget` in `index.html` asks.
 */
export function stayAboveKeyboard(): void {
  const view = window.visualViewport;
  if (view === null) return;
  view.addEventListener("resize", () => {
    // Whoever zooms in sees less of a page that stays as large as it is.
    if (view.scale !== 1) return;
    const covered = view.height < document.documentElement.clientHeight;
    document.documentElement.style.setProperty("--view-height", covered ? `${view.height}px` : "100%");
    // The browser may have pushed the page up to show what is typed into.
    if (covered) window.scrollTo(0, 0);
  });
}
