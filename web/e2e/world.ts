/** What all chapters of the journey share: the server, the browser, the pages, and what must never happen on them. */

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Browser, type BrowserContext, type BrowserContextOptions, chromium, type Page } from "playwright-core";
import { IdePage } from "./ide-page.ts";
import { INDEX_HOST, type PackageIndex, startPackageIndex } from "./package-index.ts";
import { Server } from "./server.ts";
import { CHROMIUM, PATIENCE_MS } from "./settings.ts";
import { Steps } from "./steps.ts";

type Device = Pick<BrowserContextOptions, "viewport" | "hasTouch" | "isMobile">;

const DESK: Device = { viewport: { width: 1280, height: 800 } };
export const PHONE: Device = { viewport: { width: 390, height: 844 }, hasTouch: true, isMobile: true };

export class World {
  readonly steps = new Steps();
  readonly server: Server;
  readonly index: PackageIndex;
  /** Failing scripts, refused contents, requests to anyone else. */
  readonly troubles: string[] = [];
  /** Where the server answers. */
  origin = "";
  /** A directory of the journey's own. */
  readonly scratch: string;
  #browser: Browser | null = null;

  private constructor(scratch: string, index: PackageIndex) {
    this.scratch = scratch;
    this.index = index;
    this.server = new Server(join(scratch, "data"), `${INDEX_HOST}=127.0.0.1:${index.port}`);
  }

  static async make(): Promise<World> {
    const scratch = await mkdtemp(join(tmpdir(), "playhouse-e2e-"));
    return new World(scratch, await startPackageIndex(scratch));
  }

  /** Starts the server and the browser; answers the first user's login link. */
  async start(): Promise<string> {
    const ready = await this.server.start();
    this.origin = ready.http;
    this.#browser = await chromium.launch({
      executablePath: CHROMIUM,
      // Without WebGL the terminals are drawn as text, which the journey can find its way in.
      args: ["--no-sandbox", "--disable-dev-shm-usage", "--disable-3d-apis"],
    });
    return ready.login_url;
  }

  /** A browser of its own for one person. */
  async person(device: Device = DESK): Promise<IdePage> {
    assert(this.#browser !== null, "the browser is started first");
    const context = await this.#browser.newContext({ ...device, colorScheme: "dark" });
    context.setDefaultTimeout(PATIENCE_MS);
    await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: this.origin });
    return this.anotherTab(context);
  }

  /** One more page of the same person. */
  async anotherTab(context: BrowserContext): Promise<IdePage> {
    const page = await context.newPage();
    this.#watch(page);
    return new IdePage(page);
  }

  async stop(): Promise<void> {
    await this.#browser?.close();
    await this.server.stop();
    this.index.close();
    // What a host that was started through sudo has made there is root's.
    await rm(this.scratch, { recursive: true, force: true }).catch(() =>
      promisify(execFile)("sudo", ["-n", "rm", "-rf", this.scratch]),
    );
  }

  #watch(page: Page): void {
    page.on("pageerror", (error) => this.troubles.push(error.stack ?? String(error)));
    page.on("console", (message) => {
      if (/Content Security Policy/i.test(message.text())) this.troubles.push(message.text());
    });
    page.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (protocol.startsWith("http") && origin !== this.origin) this.troubles.push(`a request to ${request.url()}`);
    });
  }
}

/** How many lines `COUNTER` prints. */
const LINES = 1500;
/** Some seconds of output, each line with its number, so that a hole or a repetition shows. */
export const COUNTER = `import time
for number in range(${LINES}):
    print("line", number, flush=True)
    time.sleep(0.004)
print("counted")
`;

export function assertCounted(text: string): void {
  const numbers = [...text.matchAll(/^line (\d+)$/gm)].map((match) => Number(match[1]));
  const first = numbers.findIndex((number, at) => number !== at);
  assert.equal(first, -1, `line ${first} is ${numbers[first]}`);
  assert.equal(numbers.length, LINES, "every line is there, each once and in order");
}
