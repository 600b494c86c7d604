import { createEffect, onCleanup, Show } from "solid-js";
import { needsFile, runCommandFor, wantedExtension } from "../../core/command.ts";
import { sandboxWord } from "../../core/model/sandbox.ts";
import { type Dialog, isRunning, mayEdit, workspaceOf } from "../../core/model/state.ts";
import { followInPage } from "../router.ts";
import { Icon, IconButton } from "../widgets/icons.tsx";
import { once } from "../widgets/once.ts";
import type { Workbench } from "./workbench.ts";

/** The line above everything: where one is, how the connection stands, and what runs. */
export function TopBar(props: { bench: Workbench; sideOpen: boolean; onToggleSide: () => void }) {
  const state = () => props.bench.state;
  const workspace = () => workspaceOf(state());
  const activePath = () => state().tabs.find((tab) => tab.fileId === state().activeFile)?.path ?? null;
  const command = () => {
    const template = state().template;
    return template === null ? null : runCommandFor(template.run_command, activePath());
  };
  const runTitle = () => {
    const wanted = command();
    if (wanted !== null) return `Save and run: ${wanted} (Ctrl+Enter)`;
    const run = state().template?.run_command ?? "";
    if (!needsFile(run)) return "Run";
    const extension = wantedExtension(run);
    return extension === null ? "Open a file to run it" : `Open a .${extension} file to run it`;
  };
  const stoppable = () => {
    const process = state().processes.get(state().activeTerminal ?? "");
    return isRunning(process) ? process : undefined;
  };
  const ask = (dialog: Dialog): void => props.bench.context.dispatch({ type: "dialog", dialog });
  const dirty = () => state().tabs.some((tab) => tab.dirty);
  createEffect(() => {
    document.title = `${dirty() ? "● " : ""}${workspace()?.name ?? ""} – Playhouse`;
  });
  onCleanup(() => {
    document.title = "Playhouse";
  });
  return (
    <header class="top-bar">
      <button
        type="button"
        class="icon-button side-toggle"
        aria-label="Files and processes"
        aria-expanded={props.sideOpen}
        onClick={() => props.onToggleSide()}
      >
        <Icon name="menu" />
      </button>
      <a class="home-link" href="/" aria-label="All workspaces" title="All workspaces" onClick={followInPage}>
        <img src="/icon.svg" alt="" width="22" height="22" />
      </a>
      <h1 title={workspace()?.name}>{workspace()?.name}</h1>
      <span class="badge template-badge">{workspace()?.template}</span>
      <button
        type="button"
        class={`connection connection-${state().connection} sandbox-${state().sandbox?.status ?? "none"}`}
        title="The sandbox"
        aria-label={`Sandbox: ${sandboxWord(state())}`}
        onClick={() => ask({ kind: "sandbox" })}
      >
        {sandboxWord(state())}
      </button>
      <span class="for-readers" role="status" aria-label="Connection">
        {sandboxWord(state())}
      </span>
      <span class="grow" />
      <Show
        when={mayEdit(state())}
        fallback={
          <span class="badge" role="note" title="You may read files and watch output. Ask the owner for more.">
            Watching only
          </span>
        }
      >
        <button
          type="button"
          class="button primary"
          title={runTitle()}
          disabled={command() === null}
          onClick={once(() => void props.bench.saveAndRun())}
        >
          <Icon name="play" />
          <span>Run</span>
        </button>
        <button
          type="button"
          class="button compact"
          title={stoppable() === undefined ? "Nothing runs in the terminal in front" : `Stop: ${stoppable()?.title}`}
          disabled={stoppable() === undefined}
          onClick={() => {
            const process = stoppable();
            if (process !== undefined) void props.bench.runs.stop(process.id);
          }}
        >
          <Icon name="stop" />
          <span>Stop</span>
        </button>
        <button
          type="button"
          class="button compact"
          title="New terminal"
          onClick={once(() => void props.bench.runs.newTerminal())}
        >
          <Icon name="terminal" />
          <span>New terminal</span>
        </button>
      </Show>
      <Show when={workspace()?.role === "owner"}>
        <button type="button" class="button compact" title="Share" onClick={() => ask({ kind: "share" })}>
          <Icon name="share" />
          <span>Share</span>
        </button>
      </Show>
      <IconButton icon="help" label="Keyboard shortcuts" class="help" onClick={() => ask({ kind: "keys" })} />
    </header>
  );
}
