/** Where things are, from the environment. */

import { mkdirSync } from "node:fs";
import { resolve } from "node:path";

const here = new URL(".", import.meta.url).pathname;

/** The server's binary. */
export const BINARY = resolve(process.env.PLAYHOUSE_BIN ?? `${here}/../../target/release/playhouse`);
/** Screenshots and the server's log. */
export const OUT = resolve(process.env.PLAYHOUSE_SCREENSHOTS ?? `${here}/../../target/e2e`);
export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
/** No state is waited for longer than this. */
export const PATIENCE_MS = 30_000;

mkdirSync(OUT, { recursive: true });
