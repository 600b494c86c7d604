import { createMemo, For, Show } from "solid-js";
import { statusText } from "../../core/model/processes.ts";
import { isRunning, mayEdit } from "../../core/model/state.ts";
import { IconButton } from "../widgets/icons.tsx";
import type { Workbench } from "./workbench.ts";

/** More than these are rarely looked for; the newest are shown. */
const SHOWN = 50;

/** What runs and what ran, newest first. A click shows its output, replayed from its start. */
export function ProcessList(props: { bench: Workbench }) {
  const state = () => props.bench.state;
  const processes = createMemo(() => [...state().processes.values()].slice(-SHOWN).reverse());
  return (
    <section class="panel processes" aria-label="Processes">
      <header class="panel-header">
        <h2>Processes</h2>
      </header>
      <ul class="process-list">
        <For each={processes()} fallback={<li class="quiet empty">Nothing has run yet.</li>}>
          {(process) => (
            <li classList={{ active: state().activeTerminal === process.id }}>
              <button
                type="button"
                class="process"
                title={process.title}
                onClick={() => props.bench.runs.show(process.id, true)}
              >
                <span class={`dot dot-${process.status}`} aria-hidden="true" />
                <span class="process-title">{process.title}</span>
                <span class="quiet">{statusText(process)}</span>
              </button>
              <Show when={isRunning(process) && mayEdit(state())}>
                <IconButton
                  icon="stop"
                  label={`Stop ${process.title}`}
                  onClick={() => void props.bench.runs.stop(process.id)}
                />
              </Show>
            </li>
          )}
        </For>
      </ul>
    </section>
  );
}
