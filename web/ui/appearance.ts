/** How the person's system looks and is touched. Styles follow by themselves; this is for what they don't reach. */

import { type Accessor, createSignal } from "solid-js";

function follows(media: string): Accessor<boolean> {
  const query = matchMedia(media);
  const [matches, setMatches] = createSignal(query.matches);
  query.addEventListener("change", () => setMatches(query.matches));
  return matches;
}

/** The system asks for dark colours. */
export const dark = follows("(prefers-color-scheme: dark)");
/** Fingers rather than a mouse: targets are larger, and the keyboard is one on the screen. */
export const coarse = follows("(pointer: coarse)");
