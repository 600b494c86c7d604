/** One person's way through everything that the page offers, against the real server and in a real browser. */

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Browser, type BrowserContext, chromium } from "playwright-core";
import { IdePage } from "./ide-page.ts";
import { INDEX_HOST, startPackageIndex } from "./package-index.ts";
import { Server } from "./server.ts";
import { CHROMIUM, PATIENCE_MS } from "./settings.ts";
import { JourneyFailed, Steps } from "./steps.ts";
import { until } from "./until.ts";
import { PACKAGE } from "./wheel.ts";

const LINES = 1500;
/** Some seconds of output, each line with its number, so that a hole or a repetition shows. */
const COUNTER = `import time
for number in range(${LINES}):
    print("line", number, flush=True)
    time.sleep(0.004)
print("counted")
`;

const steps = new Steps();
const scratch = await mkdtemp(join(tmpdir(), "playhouse-e2e-"));
const index = await startPackageIndex(scratch);
const server = new Server(join(scratch, "data"), `${INDEX_HOST}=127.0.0.1:${index.port}`);
/** What must not happen at any time: failing scripts, requests to anyone else. */
const troubles: string[] = [];
let browser: Browser | null = null;
let failed = 0;

async function context(from: Browser, origin: string): Promise<BrowserContext> {
  const made = await from.newContext({ viewport: { width: 1280, height: 800 } });
  made.setDefaultTimeout(PATIENCE_MS);
  await made.grantPermissions(["clipboard-read", "clipboard-write"], { origin });
  return made;
}

function assertCounted(text: string): void {
  const numbers = [...text.matchAll(/^line (\d+)$/gm)].map((match) => Number(match[1]));
  const first = numbers.findIndex((number, at) => number !== at);
  assert.equal(first, -1, `line ${first} is ${numbers[first]}`);
  assert.equal(numbers.length, LINES, "every line is there, each once and in order");
}

async function journey(): Promise<void> {
  const step = steps.step.bind(steps);
  const ready = await server.start();
  browser = await chromium.launch({ executablePath: CHROMIUM, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
  const mine = await context(browser, ready.http);
  const page = await mine.newPage();
  const ide = new IdePage(page);
  page.on("pageerror", (error) => troubles.push(error.stack ?? String(error)));
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol.startsWith("http") && origin !== ready.http) troubles.push(`a request to ${request.url()}`);
  });
  steps.watch(page);

  await step("without a session the page says how to get one", async () => {
    await page.goto(ready.http);
    await page.getByRole("heading", { name: "Sign in to Playhouse" }).waitFor();
  });

  await step("the login link signs in", async () => {
    await page.goto(ready.login_url);
    await page.goto(ready.http);
    await page.getByText("signed in as admin").waitFor();
  });

  await step("a workspace is created", async () => {
    await page.getByRole("textbox", { name: "Name" }).fill("journey");
    await page.getByRole("combobox", { name: "Template" }).selectOption("python");
    await page.getByRole("button", { name: "Create workspace" }).click();
    await page.getByRole("heading", { name: "journey" }).waitFor();
    await page.getByText("No files yet.").waitFor();
  });

  await step("a file is created, edited and saved", async () => {
    await ide.newFile("/hello.py", 'name = input("name? ")\nprint("hello,", name)\n');
    await page.reload();
    await ide.open("hello.py");
    await until("the saved text", async () => (await ide.editorText()).includes('print("hello,", name)'));
  });

  await step("it runs and reads what is typed", async () => {
    await ide.run("python3 hello.py");
    await ide.terminalShows("name?");
    await ide.type("Ada\r");
    await ide.terminalShows("hello, Ada");
    await ide.ends("done");
  });

  await step("a running loop is stopped", async () => {
    await ide.newFile("/loop.py", 'import time\nprint("looping", flush=True)\nwhile True:\n    time.sleep(1)\n');
    await ide.run("python3 loop.py");
    await ide.terminalShows("looping");
    await ide.button("Stop").click();
    await ide.ends("stopped");
  });

  await step("a shell answers, and Ctrl-C interrupts", async () => {
    await ide.button("New terminal").click();
    await until("the shell to be in front", async () => (await ide.selectedTerminal()) === "bash -l");
    await ide.type("echo $((6*7)) > answer.txt; cat answer.txt; sleep 1000\r");
    await ide.terminalShows(/^42$/m);
    await ide.press("Control+c");
    await ide.type("echo back $?\r");
    await ide.terminalShows(/^back 130$/m);
  });

  await step("what a program writes shows up in the tree and the editor", async () => {
    await ide.open("answer.txt");
    await until("its text", async () => (await ide.editorText()).includes("42"));
    await ide.type("echo changed > answer.txt\r");
    await until("the new text", async () => (await ide.editorText()).includes("changed"));
  });

  await step("a conflict is shown and settled", async () => {
    await ide.replaceText("mine\n");
    await ide.type("echo theirs > answer.txt\r");
    await page.getByText("Somebody else changed this file.").waitFor();
    await page.locator(".cm-content").first().click();
    await page.keyboard.press("ControlOrMeta+s");
    await ide.dialog().getByText("theirs", { exact: true }).waitFor();
    await ide.dialog().getByRole("button", { name: "Keep mine" }).click();
    await ide.dialog().waitFor({ state: "detached" });
    await ide.type("cat answer.txt\r");
    await ide.terminalShows(/^mine$/m);
  });

  await step("pip installs a package", async () => {
    const from = `--index-url https://${INDEX_HOST}/simple --trusted-host ${INDEX_HOST}`;
    await ide.type(
      `clear; pip install ${from} ${PACKAGE} && python3 -c 'import playhouse_demo as d; print("got", d.answer)'\r`,
    );
    await ide.terminalShows(/^got 42$/m);
    assert.equal(index.downloads(), 1);
  });

  await step("a reload in the middle of output loses nothing", async () => {
    await ide.newFile("/count.py", COUNTER);
    await ide.run("python3 count.py");
    await ide.terminalShows("line 100");
    await page.reload();
    await until("the terminal to be in front again", async () => (await ide.selectedTerminal()) === "python3 count.py");
    assertCounted(await ide.terminalShows(/^counted$/m));
    await ide.ends("done");
  });

  await step("a killed server comes back, and nothing is lost", async () => {
    await ide.open("count.py");
    await ide.run("python3 count.py");
    await ide.terminalShows("line 100");
    await server.kill();
    await until("the page to notice", async () => (await ide.connection().textContent()) === "reconnecting…");
    await server.start();
    await until("the page to be back", async () => (await ide.connection().textContent()) !== "reconnecting…");
    assertCounted(await ide.terminalShows(/^counted$/m));
    await ide.ends("done");
  });

  const theirs = await context(browser, ready.http);
  const watching = new IdePage(await theirs.newPage());

  await step("a second user is given access to watch", async () => {
    await server.command("token", "create", "--user", "bob");
    await ide.button("Share").click();
    await ide.dialog().getByRole("textbox", { name: "User name" }).fill("bob");
    await ide.dialog().getByRole("button", { name: "Add" }).click();
    await ide.dialog().getByRole("list", { name: "Members" }).getByText("bob").waitFor();
    await ide.dialog().getByRole("button", { name: "Done" }).click();
    await ide.open("loop.py");
    await ide.run("python3 loop.py");
    await ide.terminalShows("looping");
    await watching.page.goto(await server.command("login", "--user", "bob"));
    await watching.page.goto(ready.http);
    await watching.page.getByText("signed in as bob").waitFor();
    await watching.page.getByText("shared: may watch").waitFor();
    await watching.page.getByRole("link", { name: "journey" }).click();
    await watching.page.getByText("Watching only").waitFor();
    steps.watch(watching.page);
  });

  await step("who watches sees the output and can change nothing", async () => {
    await watching.page.getByRole("button", { name: "python3 loop.py" }).first().click();
    await watching.terminalShows("looping");
    for (const name of ["Run", "Stop", "New terminal", "Share", "New file"]) {
      assert.equal(await watching.button(name).count(), 0, name);
    }
    await watching.open("hello.py");
    assert.equal(await watching.page.locator(".cm-content").getAttribute("contenteditable"), "false");
    const refused = await watching.page.evaluate(async () => {
      const id = location.pathname.split("/")[2];
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ command: "id" });
      return (await fetch(`/api/workspaces/${id}/run`, { method: "POST", headers, body })).status;
    });
    assert.equal(refused, 403);
  });

  await step("access that is taken away ends at once", async () => {
    await page.bringToFront();
    await ide.button("Share").click();
    await ide.dialog().getByRole("button", { name: "Remove bob" }).click();
    await watching.page.getByRole("heading", { name: "Not here" }).waitFor();
    await ide.dialog().getByRole("button", { name: "Done" }).click();
    await ide.button("Stop").click();
    await ide.ends("stopped");
    steps.watch(page);
  });

  await step("files are uploaded, and replaced only when asked", async () => {
    const upload = (text: string) =>
      page
        .getByLabel("Files to upload")
        .setInputFiles({ name: "notes.txt", mimeType: "text/plain", buffer: Buffer.from(text) });
    await ide.row("hello.py").click();
    await upload("first\n");
    await ide.row("notes.txt").waitFor();
    await upload("second\n");
    await ide.dialog().getByRole("button", { name: "Replace" }).click();
    await ide.open("notes.txt");
    await until("the second text", async () => (await ide.editorText()).includes("second"));
  });

  await step("a file is moved into a new folder", async () => {
    await page.getByRole("button", { name: "Rename notes.txt" }).click({ force: true });
    await ide.dialog().getByRole("textbox").fill("/docs/notes.md");
    await ide.dialog().getByRole("button", { name: "Move" }).click();
    await page.getByRole("tab", { name: "notes.md", exact: true }).waitFor();
    await ide.row("docs").waitFor();
  });

  await step("a folder is deleted with all that is in it", async () => {
    await page.getByRole("button", { name: "Delete docs" }).click({ force: true });
    await ide.dialog().getByRole("button", { name: "Delete" }).click();
    await ide.row("docs").waitFor({ state: "detached" });
    await page.getByRole("tab", { name: "notes.md" }).waitFor({ state: "detached" });
  });

  await step("everything is downloaded as an archive", async () => {
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("link", { name: "Download all files" }).click(),
    ]);
    const bytes = await readFile(await download.path());
    assert.equal(bytes.subarray(0, 2).toString(), "PK");
  });

  await step("old output is replayed from the list of processes", async () => {
    await page.evaluate(() => sessionStorage.clear());
    await page.goto("about:blank");
    await page.goBack();
    await page
      .getByRole("button", { name: /^python3 count\.py/ })
      .first()
      .click();
    assertCounted(await ide.terminalShows(/^counted$/m));
  });

  await step("a workspace is renamed and deleted", async () => {
    await page.getByRole("link", { name: "All workspaces" }).click();
    await page.getByRole("button", { name: "Rename journey" }).click();
    await ide.dialog().getByRole("textbox").fill("arrived");
    await ide.dialog().getByRole("button", { name: "Rename" }).click();
    await page.getByRole("link", { name: "arrived" }).waitFor();
    await page.getByRole("button", { name: "Delete arrived" }).click();
    await ide.dialog().getByRole("button", { name: "Delete" }).click();
    await page.getByText("No workspaces yet.").waitFor();
  });

  await step("the page asked nobody else and no script failed", async () => {
    assert.deepEqual(troubles, []);
  });
}

try {
  await journey();
} catch (error) {
  failed = 1;
  if (!(error instanceof JourneyFailed)) console.log(error);
  for (const trouble of troubles) console.log(`trouble: ${trouble}`);
} finally {
  await (browser as Browser | null)?.close();
  await server.stop();
  index.close();
  await rm(scratch, { recursive: true, force: true });
}
console.log(steps.summary(failed));
process.exitCode = failed;
