import { createEffect, createMemo, createSignal, For, on, onCleanup, onMount, Show } from "solid-js";
import { terminalLabels } from "../../core/model/labels.ts";
import { statusText } from "../../core/model/processes.ts";
import { isRunning, mayEdit } from "../../core/model/state.ts";
import { coarse } from "../appearance.ts";
import { copyText } from "../clipboard.ts";
import { Icon, IconButton } from "../widgets/icons.tsx";
import { once } from "../widgets/once.ts";
import { Tab, TabList } from "../widgets/tabs.tsx";
import { TerminalSearch } from "./terminal-search.tsx";
import { TouchKeys } from "./touch-keys.tsx";
import type { Workbench } from "./workbench.ts";

/** The terminals: tabs, and the one that is looked at. */
export function TerminalPane(props: { bench: Workbench }) {
  const state = () => props.bench.state;
  const active = createMemo(() => state().activeTerminal);
  const process = () => state().processes.get(active() ?? "");
  const labels = createMemo(() => terminalLabels(state()));
  const [searching, setSearching] = createSignal(false);
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
  createEffect(on(active, () => setSearching(false), { defer: true }));
  onMount(() => {
    const observer = new ResizeObserver(() => terminal()?.fit());
    observer.observe(host);
    onCleanup(() => observer.disconnect());
  });
  const copyAll = (): void => {
    const text = terminal()?.text() ?? "";
    copyText(text).then(
      () => props.bench.context.dispatch({ type: "notice", tone: "info", text: "The output is copied." }),
      () =>
        props.bench.context.dispatch({ type: "notice", tone: "error", text: "The browser did not let it be copied." }),
    );
  };
  return (
    <section
      class="terminal-pane"
      aria-label="Terminals"
      onKeyDown={(event) => {
        if (!event.ctrlKey || !event.shiftKey || event.code !== "KeyF" || active() === null) return;
        event.preventDefault();
        setSearching(true);
      }}
    >
      <div class="tabs">
        <Show when={state().terminals.length > 0}>
          <TabList label="Terminals">
            <For each={state().terminals}>
              {(id) => <TerminalTab bench={props.bench} processId={id} label={labels().get(id) ?? "…"} />}
            </For>
          </TabList>
        </Show>
        <Show when={mayEdit(state())}>
          <IconButton icon="plus" label="Another terminal" onClick={once(() => void props.bench.runs.newTerminal())} />
        </Show>
        <span class="grow" />
        <Show when={process()}>
          {(shown) => (
            <div class="tab-tools">
              <span
                class={`terminal-status status-${shown().status}`}
                role="status"
                aria-label="Process status"
                title={shown().title}
              >
                {statusText(shown())}
              </span>
              <Show when={mayEdit(state()) && !isRunning(shown()) && shown().command !== null}>
                <IconButton
                  icon="again"
                  label="Run again"
                  onClick={once(() => void props.bench.runs.again(shown().id))}
                />
              </Show>
              <IconButton
                icon="search"
                label="Search in output (Ctrl+Shift+F)"
                onClick={() => setSearching((before) => !before)}
              />
              <IconButton icon="copy" label="Copy all output" onClick={copyAll} />
              <a
                class="icon-button"
                href={`/api/processes/${shown().id}/output`}
                download="output.txt"
                aria-label="Download output"
                title="Download output"
              >
                <Icon name="download" />
              </a>
            </div>
          )}
        </Show>
      </div>
      <Show when={searching() && terminal()} keyed>
        {(shown) => (
          <TerminalSearch
            terminal={shown}
            onClose={() => {
              setSearching(false);
              shown.focus();
            }}
          />
        )}
      </Show>
      <div class="terminal-area" ref={host} />
      <Show when={coarse() && mayEdit(state()) && terminal()}>
        {(shown) => <TouchKeys terminal={shown()} disabled={!isRunning(process())} />}
      </Show>
      <Show when={active() === null}>
        <div class="placeholder">
          <p class="quiet">{mayEdit(state()) ? "Run a file, or start a terminal." : "Nothing runs."}</p>
        </div>
      </Show>
    </section>
  );
}

function TerminalTab(props: { bench: Workbench; processId: string; label: string }) {
  const state = () => props.bench.state;
  const process = () => state().processes.get(props.processId);
  return (
    <Tab
      selected={state().activeTerminal === props.processId}
      label={props.label}
      title={process()?.title}
      closeTitle={isRunning(process()) ? "Hide: the program goes on" : "Close"}
      onSelect={() => {
        props.bench.context.dispatch({ type: "terminal_active", processId: props.processId });
        props.bench.runs.terminal(props.processId)?.focus();
      }}
      onClose={() => props.bench.runs.close(props.processId)}
    >
      <span class={`dot dot-${process()?.status ?? "pending"}`} aria-hidden="true" />
      <span class="tab-name">{props.label}</span>
    </Tab>
  );
}
