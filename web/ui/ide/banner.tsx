import { createSignal, onCleanup, onMount, Show } from "solid-js";
import { hasEnded, sandboxNote } from "../../core/model/sandbox.ts";
import { mayEdit } from "../../core/model/state.ts";
import { Icon } from "../widgets/icons.tsx";
import type { Workbench } from "./workbench.ts";

/** Why the sandbox can't be used now, with the button that helps. */
export function SandboxBar(props: { bench: Workbench }) {
  const note = () => sandboxNote(props.bench.state.sandbox);
  const [busy, setBusy] = createSignal(false);
  const start = async (): Promise<void> => {
    setBusy(true);
    await props.bench.startSandbox();
    setBusy(false);
  };
  return (
    <Show when={note()}>
      {(shown) => (
        <div class={`bar bar-${shown().tone}`} role="status" aria-label="Sandbox">
          <Icon name="warn" />
          <span class="grow">{shown().text}</span>
          <Show when={shown().action !== null && mayEdit(props.bench.state)}>
            <button type="button" class="button small" disabled={busy()} onClick={() => void start()}>
              {shown().action === "resume" ? "Resume" : "Restart sandbox"}
            </button>
          </Show>
        </div>
      )}
    </Show>
  );
}

/** Floats above the page while the connection is lost: it must not push the terminals and so resize them. */
export function ReconnectPill(props: { bench: Workbench }) {
  const [offline, setOffline] = createSignal(!navigator.onLine);
  const update = (): void => void setOffline(!navigator.onLine);
  onMount(() => {
    window.addEventListener("online", update);
    window.addEventListener("offline", update);
    onCleanup(() => {
      window.removeEventListener("online", update);
      window.removeEventListener("offline", update);
    });
  });
  return (
    <Show when={props.bench.state.connection === "reconnecting"}>
      <div class="pill" role="alert">
        <span class="spinner" aria-hidden="true" />
        <span>
          {offline() ? "You are offline. " : "Connection lost, reconnecting… "}
          {hasEnded(props.bench.state.sandbox?.status ?? "terminated")
            ? "What you have not saved stays here."
            : "Programs go on, and their output is kept."}
        </span>
        <button type="button" class="button small" onClick={() => props.bench.reconnect()}>
          Try now
        </button>
      </div>
    </Show>
  );
}
