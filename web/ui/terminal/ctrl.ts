/** The Ctrl key of the row below the terminals: pressed once, it counts for the next key, wherever that comes from. */

import { createSignal } from "solid-js";
import { afterCtrl } from "../../core/terminal/touch-keys.ts";

const [ctrlHeld, holdCtrl] = createSignal(false);

export { ctrlHeld, holdCtrl };

/** What a terminal's text is with the Ctrl that may be held, which is let go by a key. */
export function applyCtrl(text: string): string {
  const changed = ctrlHeld() ? afterCtrl(text) : null;
  if (changed === null) return text;
  holdCtrl(false);
  return changed;
}
