import { createResource, lazy, Match, Show, Switch } from "solid-js";
import { Api } from "../core/api.ts";
import type { Me } from "../core/api-types.ts";
import { Problem, sentence } from "../core/problem.ts";
import { Home } from "./home/home.tsx";
import { route } from "./router.ts";
import { SignIn } from "./sign-in.tsx";
import { fetchTransport } from "./transport.ts";

const IdePage = lazy(() => import("./ide/ide.tsx"));

type Session = { kind: "in"; me: Me } | { kind: "out" } | { kind: "unreachable"; why: string };

export function App() {
  const api = new Api(fetchTransport);
  const [session, { refetch }] = createResource<Session>(async () => {
    try {
      return { kind: "in", me: await api.me() };
    } catch (error) {
      if (error instanceof Problem && error.status === 401) return { kind: "out" };
      return { kind: "unreachable", why: sentence(error) };
    }
  });
  const me = () => {
    const now = session.latest;
    return now?.kind === "in" ? now.me : undefined;
  };
  const workspaceId = () => {
    const now = route();
    return now.page === "workspace" ? now.id : undefined;
  };
  const why = () => {
    const now = session.latest;
    return now?.kind === "unreachable" ? now.why : undefined;
  };
  return (
    <Switch fallback={<div class="page-wait" role="status" aria-label="Loading" />}>
      <Match when={session.latest?.kind === "out"}>
        <SignIn onRetry={() => void refetch()} />
      </Match>
      <Match when={why()}>
        {(text) => (
          <main class="sign-in">
            <h1>Playhouse</h1>
            <p role="alert">{text()}</p>
            <button type="button" class="button" onClick={() => void refetch()}>
              Try again
            </button>
          </main>
        )}
      </Match>
      <Match when={me()}>
        {(user) => (
          <Show when={workspaceId()} keyed fallback={<Home api={api} me={user()} />}>
            {(id) => <IdePage api={api} me={user()} workspaceId={id} onSignedOut={() => void refetch()} />}
          </Show>
        )}
      </Match>
    </Switch>
  );
}
