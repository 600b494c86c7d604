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
window.addEventListener("popstate", () => setRoute(parseRoute(location.pathname)));

export { route };

export function go(path: string): void {
  history.pushState(null, "", path);
  setRoute(parseRoute(path));
}

/** For links: a plain click stays in the page, any other is the browser's. */
export function followInPage(event: MouseEvent & { currentTarget: HTMLAnchorElement }): void {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(new URL(event.currentTarget.href).pathname);
}
