import { For, onCleanup } from "solid-js";
import { repeats, type TouchKey } from "../../core/terminal/touch-keys.ts";
import { ctrlHeld, holdCtrl } from "../terminal/ctrl.ts";
import type { TerminalHandle } from "../terminal/terminal.ts";
import { heldKey } from "./held-key.ts";

/** In their order; Ctrl stands between the first two and the rest. */
const BEFORE: readonly (readonly [key: TouchKey, text: string, label: string])[] = [
  ["escape", "Esc", "Esc"],
  ["tab", "Tab", "Tab"],
];
const AFTER: typeof BEFORE = [
  ["left", "←", "Arrow left"],
  ["up", "↑", "Arrow up"],
  ["down", "↓", "Arrow down"],
  ["right", "→", "Arrow right"],
  ["interrupt", "Ctrl-C", "Ctrl-C"],
];

/** The keys that an on-screen keyboard lacks. */
export function TouchKeys(props: { terminal: TerminalHandle; disabled: boolean }) {
  onCleanup(() => holdCtrl(false));
  const keys = (some: typeof BEFORE) => (
    <For each={some}>
      {([key, text, label]) => (
        <button
          type="button"
          aria-label={label}
          disabled={props.disabled}
          // The focus stays where it is, and with it the on-screen keyboard.
          onMouseDown={(event) => event.preventDefault()}
          {...(repeats(key) ? heldKey(() => props.terminal.press(key)) : { onClick: () => props.terminal.press(key) })}
        >
          {text}
        </button>
      )}
    </For>
  );
  return (
    <fieldset class="touch-keys" aria-label="Keys for the terminal">
      {keys(BEFORE)}
      <button
        type="button"
        aria-pressed={ctrlHeld()}
        title="Counts for the next key"
        disabled={props.disabled}
        onMouseDown={(event) => event.preventDefault()}
        onClick={() => {
          holdCtrl((before) => !before);
          // The key that it waits for is most often a letter.
          if (ctrlHeld()) props.terminal.focus();
        }}
      >
        Ctrl
      </button>
      {keys(AFTER)}
    </fieldset>
  );
}
