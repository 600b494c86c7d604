/** Two pages: the list at `/` and a workspace at `/w/{id}`. */

import { createSignal } from "solid-js";

export type Route = { page: "home" } | { page: "workspace"; id: string };

export function parseRoute(path: string): Route {
  const match = /^\/w\/([0-9a-fA-F-]{36})\/?$/.exec(path);
  return match?.[1] === undefined ? { page: "home" } : { page: "workspace", id: match[1].toLowerCase() };
}

const [route, setRoute] = createSignal<Route>(parseRoute(location.pathname), {
  equals: (a, b) => JSON.stringify(a) === JSON.stringify(b),
});
/** The path that is shown, whatever the address bar already says. */
let shown = location.pathname;
/** Asked before the page is left; false keeps it. */
let guard: ((to: string) => boolean) | null = null;

window.addEventListener("popstate", () => {
  const to = location.pathname;
  if (to === shown) return;
  if (guard?.(to) === false) {
    // The browser has gone there already; come back while the question is open.
    history.pushState(null, "", shown);
    return;
  }
  show(to);
});

export { route };

/** Lets `mayLeave` be asked before another page is shown, until the answer is called. */
export function guardLeaving(mayLeave: (to: string) => boolean): () => void {
  guard = mayLeave;
  return () => {
    if (guard === mayLeave) guard = null;
  };
}

export function go(path: string): void {
  if (guard?.(path) === false) return;
  history.pushState(null, "", path);
  show(path);
}

/** For links: a plain click stays in the page, any other is the browser's. */
export function followInPage(event: MouseEvent & { currentTarget: HTMLAnchorElement }): void {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(new URL(event.currentTarget.href).pathname);
}

function show(path: string): void {
  shown = path;
  setRoute(parseRoute(path));
}
