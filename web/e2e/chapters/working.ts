import assert from "node:assert/strict";
import type { Locator } from "playwright-core";
import { assertAccessible } from "../accessibility.ts";
import type { IdePage } from "../ide-page.ts";
import { longestFrame, timed } from "../pace.ts";
import { INDEX_HOST } from "../package-index.ts";
import { until } from "../until.ts";
import { PACKAGE } from "../wheel.ts";
import type { World } from "../world.ts";

/** Editing, running, typing, stopping, installing. */
export async function working(world: World, ide: IdePage): Promise<void> {
  const { page } = ide;
  const step = world.steps.step.bind(world.steps);

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
    await ide.terminalShows("[done; Enter runs it again]");
  });

  await step("Enter runs it again, in the same place", async () => {
    await ide.press("Enter");
    await ide.ends("running");
    await ide.terminalShows(/^name\?$/);
    await ide.type("Bob\r");
    await ide.terminalShows("hello, Bob");
    await ide.ends("done");
    assert.equal(await ide.terminalTab("python3 hello.py").count(), 1);
  });

  await step("how a program failed is shown", async () => {
    await ide.newFile("/fails.py", "raise SystemExit(3)\n");
    await page.keyboard.press("ControlOrMeta+Enter");
    await ide.ends("exit 3");
    await assertAccessible(page, "a workspace");
  });

  await step("a running loop is stopped", async () => {
    await ide.newFile("/loop.py", 'import time\nprint("looping", flush=True)\nwhile True:\n    time.sleep(1)\n');
    // A double click, which many make of habit, runs it once.
    await ide.button("Run").dblclick();
    await until("its terminal to be in front", async () => (await ide.selectedTerminal()) === "python3 loop.py");
    await ide.terminalShows("looping");
    assert.equal(await page.getByRole("button", { name: /^python3 loop\.py/ }).count(), 1);
    await ide.button("Stop").click();
    await ide.ends("stopped");
  });

  await step("a shell answers, and Ctrl-C interrupts", async () => {
    await ide.newTerminal("bash");
    await ide.type("echo $((6*7)) > answer.txt; cat answer.txt; sleep 1000\r");
    await ide.terminalShows(/^42$/m);
    await ide.press("Control+c");
    await ide.type("echo back $?\r");
    await ide.terminalShows(/^back 130$/m);
  });

  await step("endless output leaves the page quick, and Ctrl-C stops it at once", async () => {
    const calmly = await timed(async () => {
      await ide.type("clear; echo calm\r");
      await ide.terminalShows(/^calm$/m);
    });
    const calmFrame = await longestFrame(page);
    await ide.type("yes 'no end'\r");
    await ide.terminalShows(/(no end\n){500}/);
    const frame = await longestFrame(page);
    assert(frame < 1000 + 5 * calmFrame, `a frame took ${Math.round(frame)} ms, calmly ${Math.round(calmFrame)} ms`);
    const took = await timed(async () => {
      await ide.press("Control+c");
      await ide.type("clear; echo stopped\r");
      await ide.terminalShows(/^stopped$/m);
    });
    assert(took < 4000 + 5 * calmly, `it took ${Math.round(took)} ms, calmly ${Math.round(calmly)} ms`);
  });

  await step("a second shell has a name of its own, and its own name when it gives one", async () => {
    await ide.newTerminal("bash (2)");
    await ide.type("printf '\\033]0;my title\\007'\r");
    await ide.terminalTab("my title").waitFor();
    await ide.type("exit\r");
    await ide.ends("done");
    await page.keyboard.press("Delete");
    await ide.terminalTab("my title").press("Delete");
    await ide.terminalTab("my title").waitFor({ state: "detached" });
    const focused = () => page.evaluate(() => document.activeElement?.getAttribute("role"));
    assert.equal(await focused(), "tab", "the keyboard stays in the row of tabs");
    await ide.terminalTab("bash").click();
  });

  await step("no name is so long that it pushes buttons or the tab in front out of sight", async () => {
    await page.evaluate(async () => {
      const id = location.pathname.split("/")[2];
      const headers = { "content-type": "application/json" };
      for (let at = 0; at < 5; at += 1) {
        const body = JSON.stringify({ command: `true ${"word ".repeat(20)}${at}` });
        await fetch(`/api/workspaces/${id}/run`, { method: "POST", headers, body });
      }
    });
    const long = page.getByRole("tab", { name: /^true (word )+\d$/ });
    await until("their tabs", async () => (await long.count()) >= 3);
    await inSight(page.getByRole("link", { name: "Download all files" }), page.getByRole("complementary"));
    await ide.newTerminal("bash (2)");
    await inSight(ide.terminalTab("bash (2)"), page.getByRole("tablist", { name: "Terminals" }));
    await ide.type("exit\r");
    await ide.ends("done");
    await ide.terminalTab("bash (2)").press("Delete");
    while ((await long.count()) > 0) await long.first().press("Delete");
    await ide.terminalTab("bash").click();
  });

  await step("output is searched", async () => {
    await ide.type("clear; seq 1 2000\r");
    await ide.terminalShows(/^2000$/m);
    await page.keyboard.press("Control+Shift+F");
    const search = page.getByRole("textbox", { name: "Search in output" });
    await search.fill("1234");
    await page.locator(".xterm-find-active-result-decoration, .xterm-decoration-top").first().waitFor();
    await search.fill("nowhere");
    await page.getByText("not found").waitFor();
    await search.press("Escape");
    await search.waitFor({ state: "detached" });
  });

  await step("what a program writes shows up in the tree and the editor", async () => {
    await ide.open("answer.txt");
    await until("its text", async () => (await ide.editorText()).includes("42"));
    await ide.type("clear; echo changed > answer.txt\r");
    await until("the new text", async () => (await ide.editorText()).includes("changed"));
  });

  await step("a conflict is shown and settled", async () => {
    await ide.replaceText("mine\n");
    await ide.type("echo theirs > answer.txt\r");
    await page.getByText("Somebody else changed this file.").waitFor();
    await page.locator(".cm-content").first().click();
    await page.keyboard.press("ControlOrMeta+s");
    await ide.dialog().getByText("theirs", { exact: true }).waitFor();
    await assertAccessible(page, "a conflict");
    await ide.dialog().getByRole("button", { name: "Keep mine" }).click();
    await ide.dialog().waitFor({ state: "detached" });
    await ide.type("cat answer.txt\r");
    await ide.terminalShows(/^mine$/m);
  });

  await step("what a program deletes stays open, and goes on as what is made in its place", async () => {
    const bar = page.getByText("This file was deleted.");
    await ide.type("clear; rm answer.txt\r");
    await bar.waitFor();
    await ide.type("echo anew > answer.txt\r");
    await bar.waitFor({ state: "detached" });
    await until("the new text", async () => (await ide.editorText()).includes("anew"));
    await ide.replaceText("kept\n");
    await ide.type("rm answer.txt; clear; sleep 2; echo theirs > answer.txt\r");
    await bar.waitFor();
    await page.getByText("Somebody else changed this file.").waitFor();
    await page.locator(".cm-content").first().click();
    await page.keyboard.press("ControlOrMeta+s");
    await ide.dialog().getByText("theirs", { exact: true }).waitFor();
    await ide.dialog().getByRole("button", { name: "Keep mine" }).click();
    await ide.dialog().waitFor({ state: "detached" });
    await ide.type("clear; cat answer.txt; rm answer.txt\r");
    await ide.terminalShows(/^kept$/m);
    await bar.waitFor();
    await ide.button("Make it anew").click();
    await bar.waitFor({ state: "detached" });
    await ide.type("clear; cat answer.txt\r");
    await ide.terminalShows(/^kept$/m);
  });

  await step("pip installs a package", async () => {
    const from = `--index-url https://${INDEX_HOST}/simple --trusted-host ${INDEX_HOST}`;
    await ide.type(
      `clear; pip install ${from} ${PACKAGE} && python3 -c 'import playhouse_demo as d; print("got", d.answer)'\r`,
    );
    await ide.terminalShows(/^got 42$/m);
    assert.equal(world.index.downloads(), 1);
  });

  await step("links open only on the web, without a way back", async () => {
    await ide.type(`clear; printf '\\n${world.origin}/healthz\\n'\r`);
    await ide.terminalShows(/\/healthz$/m);
    const [opened] = await Promise.all([page.context().waitForEvent("page"), ide.clickInTerminal("/healthz")]);
    assert.equal(await opened.evaluate(() => window.opener), null);
    await opened.close();
  });
}

/** Nothing of `inner` is cut off at the sides of `outer`. */
async function inSight(inner: Locator, outer: Locator): Promise<void> {
  const [part, whole] = [await inner.boundingBox(), await outer.boundingBox()];
  assert(part !== null && whole !== null, "both are shown");
  const cut = part.x < whole.x - 1 || part.x + part.width > whole.x + whole.width + 1;
  assert(!cut, `${JSON.stringify(part)} is cut off by ${JSON.stringify(whole)}`);
}
