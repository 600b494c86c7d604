/** Light or dark, as the person's system asks for. Styles follow by themselves; this is for what paints on its own. */

import { createSignal } from "solid-js";

const query = matchMedia("(prefers-color-scheme: dark)");
const [dark, setDark] = createSignal(query.matches);
query.addEventListener("change", () => setDark(query.matches));

export { dark };
