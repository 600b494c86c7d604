import { createEffect, onCleanup, onMount, Show } from "solid-js";
import { needsFile, runCommandFor } from "../../core/command.ts";
import { type IdeState, isRunning, mayEdit, workspaceOf } from "../../core/model/state.ts";
import { followInPage } from "../router.ts";
import { Icon } from "../widgets/icons.tsx";
import type { Workbench } from "./workbench.ts";

/** The line above everything: where one is, how the connection stands, and what runs. */
export function TopBar(props: { bench: Workbench }) {
  const state = () => props.bench.state;
  const workspace = () => workspaceOf(state());
  const activePath = () => state().tabs.find((tab) => tab.fileId === state().activeFile)?.path ?? null;
  const command = () => {
    const template = state().template;
    return template === null ? null : runCommandFor(template.run_command, activePath());
  };
  const runTitle = () => {
    const wanted = command();
    if (wanted !== null) return `Run: ${wanted}`;
    return needsFile(state().template?.run_command ?? "") ? "Open a file to run it" : "Run";
  };
  const stoppable = () => {
    const process = state().processes.get(state().activeTerminal ?? "");
    return isRunning(process) ? process : undefined;
  };
  const onKey = (event: KeyboardEvent): void => {
    if (!(event.ctrlKey || event.metaKey) || event.altKey || event.key.toLowerCase() !== "s") return;
    // In a terminal it is the program's key.
    if (event.target instanceof Element && event.target.closest(".terminal-host") !== null) return;
    event.preventDefault();
    const active = state().activeFile;
    if (active !== null && state().dialog === null) void props.bench.files.save(active);
  };
  const onLeave = (event: BeforeUnloadEvent): void => {
    if (state().tabs.some((tab) => tab.dirty)) event.preventDefault();
  };
  createEffect(() => {
    document.title = `${workspace()?.name ?? ""} – Playhouse`;
  });
  onMount(() => {
    window.addEventListener("keydown", onKey);
    window.addEventListener("beforeunload", onLeave);
  });
  onCleanup(() => {
    window.removeEventListener("keydown", onKey);
    window.removeEventListener("beforeunload", onLeave);
    document.title = "Playhouse";
  });
  return (
    <header class="top-bar">
      <a class="home-link" href="/" aria-label="All workspaces" title="All workspaces" onClick={followInPage}>
        <img src="/icon.svg" alt="" width="22" height="22" />
      </a>
      <h1>{workspace()?.name}</h1>
      <span class="badge">{workspace()?.template}</span>
      <ConnectionBadge state={state()} />
      <span class="grow" />
      <Show
        when={mayEdit(state())}
        fallback={
          <span class="badge" role="note">
            Watching only
          </span>
        }
      >
        <button
          type="button"
          class="button primary"
          title={runTitle()}
          disabled={command() === null}
          onClick={async () => {
            if (await props.bench.files.saveAll()) await props.bench.runs.runActive();
          }}
        >
          <Icon name="play" />
          Run
        </button>
        <button
          type="button"
          class="button"
          disabled={stoppable() === undefined}
          onClick={() => {
            const process = stoppable();
            if (process !== undefined) void props.bench.runs.stop(process.id);
          }}
        >
          <Icon name="stop" />
          Stop
        </button>
        <button type="button" class="button" onClick={() => void props.bench.runs.newTerminal()}>
          <Icon name="terminal" />
          New terminal
        </button>
      </Show>
      <Show when={workspace()?.role === "owner"}>
        <button
          type="button"
          class="button"
          onClick={() => props.bench.context.dispatch({ type: "dialog", dialog: { kind: "share" } })}
        >
          <Icon name="share" />
          Share
        </button>
      </Show>
    </header>
  );
}

function ConnectionBadge(props: { state: IdeState }) {
  const text = () => {
    switch (props.state.connection) {
      case "off":
        return "no sandbox";
      case "connecting":
        return "connecting…";
      case "reconnecting":
        return "reconnecting…";
      case "live":
        return props.state.sandbox ?? "connected";
    }
  };
  return (
    <span class={`connection connection-${props.state.connection}`} role="status" aria-label="Connection">
      {text()}
    </span>
  );
}
