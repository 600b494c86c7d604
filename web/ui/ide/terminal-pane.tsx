import { createEffect, createMemo, For, onCleanup, onMount, Show } from "solid-js";
import { statusText } from "../../core/model/processes.ts";
import { isRunning, mayEdit } from "../../core/model/state.ts";
import { Icon, IconButton } from "../widgets/icons.tsx";
import type { Workbench } from "./workbench.ts";

/** The terminals: tabs, and the one that is looked at. */
export function TerminalPane(props: { bench: Workbench }) {
  const state = () => props.bench.state;
  const active = createMemo(() => state().activeTerminal);
  const process = () => state().processes.get(active() ?? "");
  let host!: HTMLDivElement;
  const terminal = () => {
    const id = active();
    return id === null ? undefined : props.bench.runs.terminal(id);
  };
  createEffect(() => {
    const shown = terminal();
    if (shown === undefined) host.replaceChildren();
    else shown.show(host);
  });
  onMount(() => {
    const observer = new ResizeObserver(() => terminal()?.fit());
    observer.observe(host);
    onCleanup(() => observer.disconnect());
  });
  return (
    <section class="terminal-pane" aria-label="Terminals">
      <div class="tabs" role="tablist" aria-label="Terminals">
        <For each={state().terminals}>{(id) => <TerminalTab bench={props.bench} processId={id} />}</For>
        <span class="grow" />
        <Show when={process()}>
          {(shown) => (
            <>
              <span class="quiet terminal-status" role="status" aria-label="Process status">
                {statusText(shown())}
              </span>
              <IconButton
                icon="copy"
                label="Copy all output"
                onClick={() => void navigator.clipboard.writeText(terminal()?.text() ?? "").catch(() => undefined)}
              />
              <a
                class="icon-button"
                href={`/api/processes/${shown().id}/output`}
                download="output.txt"
                aria-label="Download output"
                title="Download output"
              >
                <Icon name="download" />
              </a>
            </>
          )}
        </Show>
      </div>
      <div class="terminal-area" ref={host} />
      <Show when={active() === null}>
        <p class="placeholder quiet">{mayEdit(state()) ? "Run a file, or start a terminal." : "Nothing runs."}</p>
      </Show>
    </section>
  );
}

function TerminalTab(props: { bench: Workbench; processId: string }) {
  const state = () => props.bench.state;
  const process = () => state().processes.get(props.processId);
  const title = () => process()?.title ?? "…";
  return (
    <div class="tab" classList={{ active: state().activeTerminal === props.processId }}>
      <button
        type="button"
        role="tab"
        aria-selected={state().activeTerminal === props.processId}
        title={title()}
        onClick={() => {
          props.bench.context.dispatch({ type: "terminal_active", processId: props.processId });
          props.bench.runs.terminal(props.processId)?.focus();
        }}
      >
        <span class={`dot dot-${process()?.status ?? "pending"}`} aria-hidden="true" />
        {title()}
      </button>
      <IconButton
        icon="close"
        label={`${isRunning(process()) ? "Hide" : "Close"} ${title()}`}
        onClick={() => props.bench.runs.close(props.processId)}
      />
    </div>
  );
}
