/** The real server: started, killed, started again, and asked for links on the command line. */

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { promisify } from "node:util";
import { BINARY, OUT, PATIENCE_MS } from "./settings.ts";

interface Ready {
  event: "ready";
  http: string;
  login_url: string;
}

export class Server {
  readonly #dataDir: string;
  readonly #egress: string;
  readonly #log = createWriteStream(`${OUT}/server.log`);
  #child: ChildProcess | null = null;
  #listen = "127.0.0.1:0";

  constructor(dataDir: string, egress: string) {
    this.#dataDir = dataDir;
    this.#egress = egress;
  }

  /** Starts it, the second time on the port of the first. */
  async start(): Promise<Ready> {
    const child = spawn(
      BINARY,
      [
        "serve",
        ...["--listen", this.#listen, "--admin-listen", "127.0.0.1:0", "--data-dir", this.#dataDir],
        ...["--output", "json", "--egress-allow", this.#egress],
      ],
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    this.#child = child;
    child.stderr.pipe(this.#log, { end: false });
    const lines = createInterface({ input: child.stdout });
    const ready = await new Promise<Ready>((done, failed) => {
      const timer = setTimeout(() => failed(new Error("the server did not become ready")), PATIENCE_MS);
      child.once("error", failed);
      child.once("exit", (code) => failed(new Error(`the server ended with ${code} before it was ready`)));
      lines.on("line", (line) => {
        this.#log.write(`${line}\n`);
        const event: unknown = JSON.parse(line);
        if (typeof event !== "object" || event === null || !("event" in event) || event.event !== "ready") return;
        clearTimeout(timer);
        done(event as Ready);
      });
    });
    this.#listen = new URL(ready.http).host;
    return ready;
  }

  /** Kills it as a power cut would, and waits until it is gone. */
  async kill(): Promise<void> {
    await this.#end("SIGKILL");
  }

  /** Lets it end its sandboxes. */
  async stop(): Promise<void> {
    await this.#end("SIGTERM");
  }

  /** What a command prints, run beside the server on the same data. */
  async command(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)(BINARY, [...args, "--data-dir", this.#dataDir], {
      timeout: PATIENCE_MS,
    });
    return stdout.trim();
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((done) => child.once("exit", done));
    child.kill(signal);
    const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
    await gone;
    clearTimeout(timer);
  }
}
