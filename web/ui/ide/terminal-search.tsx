import { createSignal, onCleanup, onMount } from "solid-js";
import type { TerminalHandle } from "../terminal/terminal.ts";
import { IconButton } from "../widgets/icons.tsx";

/** Looks for text in one terminal's output, from its end upwards. */
export function TerminalSearch(props: { terminal: TerminalHandle; onClose: () => void }) {
  const [missing, setMissing] = createSignal(false);
  let input!: HTMLInputElement;
  const find = async (backwards: boolean): Promise<void> => {
    const wanted = input.value;
    if (wanted === "") props.terminal.clearSearch();
    const found = wanted === "" || (await props.terminal.find(wanted, backwards));
    if (input.value === wanted) setMissing(!found);
  };
  onMount(() => input.focus());
  onCleanup(() => props.terminal.clearSearch());
  return (
    <search class="terminal-search">
      <input
        ref={input}
        aria-label="Search in output"
        placeholder="Search"
        spellcheck={false}
        autocomplete="off"
        aria-invalid={missing()}
        onInput={() => void find(true)}
        onKeyDown={(event) => {
          if (event.key === "Enter") void find(!event.shiftKey);
          else if (event.key === "Escape") props.onClose();
          else return;
          event.preventDefault();
        }}
      />
      <span class="quiet" role="status">
        {missing() ? "not found" : ""}
      </span>
      <IconButton icon="up" label="Earlier" onClick={() => void find(true)} />
      <IconButton icon="down" label="Later" onClick={() => void find(false)} />
      <IconButton icon="close" label="Close search" onClick={() => props.onClose()} />
    </search>
  );
}
