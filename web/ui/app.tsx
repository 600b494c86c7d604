import { createEffect, createResource, createSignal, lazy, Match, Show, Switch } from "solid-js";
import { Api } from "../core/api.ts";
import type { Me } from "../core/api-types.ts";
import { Problem, sentence } from "../core/problem.ts";
import { Home } from "./home/home.tsx";
import { route } from "./router.ts";
import { SignIn, SignInAgain } from "./sign-in.tsx";
import { fetchTransport } from "./transport.ts";

const IdePage = lazy(() => import("./ide/ide.tsx"));

type Session = { kind: "in"; me: Me } | { kind: "out" } | { kind: "unreachable"; why: string };

/** Fetched beside the first answer where it is needed at once, and when there is time where it will be soon. */
function preloadIde(): void {
  const preload = (): void => void IdePage.preload();
  if (route().page === "workspace") preload();
  else if ("requestIdleCallback" in window) requestIdleCallback(preload);
}

export function App() {
  preloadIde();
  const api = new Api(fetchTransport);
  const [session, { refetch }] = createResource<Session>(async () => {
    try {
      return { kind: "in", me: await api.me() };
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return { kind: "out" };
      return { kind: "unreachable", why: sentence(error) };
    }
  });
  // Whoever was signed in keeps the page when the session ends: texts that are not saved are in it.
  const [me, setMe] = createSignal<Me | undefined>(undefined, { equals: (a, b) => a?.id === b?.id });
  createEffect(() => {
    const now = session.latest;
    if (now?.kind === "in") setMe(now.me);
  });
  const retry = (): void => void refetch();
  const workspaceId = () => {
    const now = route();
    return now.page === "workspace" ? now.id : undefined;
  };
  const why = () => {
    const now = session.latest;
    return now?.kind === "unreachable" ? now.why : undefined;
  };
  const out = () => session.latest?.kind === "out";
  return (
    <Switch fallback={<div class="page-wait" role="status" aria-label="Loading" />}>
      <Match when={me()} keyed>
        {(user) => (
          <>
            <Show when={workspaceId()} keyed fallback={<Home api={api} me={user} onSignedOut={retry} />}>
              {(id) => <IdePage api={api} me={user} workspaceId={id} onSignedOut={retry} />}
            </Show>
            <Show when={out()}>
              <SignInAgain me={user} onRetry={retry} />
            </Show>
          </>
        )}
      </Match>
      <Match when={out()}>
        <SignIn onRetry={retry} />
      </Match>
      <Match when={why()}>
        {(text) => (
          <main class="sign-in">
            <img src="/icon.svg" alt="" width="48" height="48" />
            <h1>Playhouse</h1>
            <p role="alert">{text()}</p>
            <button type="button" class="button primary" onClick={retry}>
              Try again
            </button>
          </main>
        )}
      </Match>
    </Switch>
  );
}
