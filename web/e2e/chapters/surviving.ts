import assert from "node:assert/strict";
import type { IdePage } from "../ide-page.ts";
import { until } from "../until.ts";
import { assertCounted, COUNTER, type World } from "../world.ts";

/** Reloads, a network that goes, a server that dies: nothing is lost or doubled. */
export async function surviving(world: World, ide: IdePage): Promise<void> {
  const { page } = ide;
  const step = world.steps.step.bind(world.steps);

  await step("a reload in the middle of output loses nothing", async () => {
    await ide.newFile("/count.py", COUNTER);
    await ide.run("python3 count.py");
    await ide.terminalShows("line 100");
    await page.reload();
    await until("the terminal to be in front again", async () => (await ide.selectedTerminal()) === "python3 count.py");
    assertCounted(await ide.terminalShows(/^counted$/m));
    await ide.ends("done");
  });

  await step("without a network the page says so, and goes on exactly where it was", async () => {
    await ide.open("count.py");
    await ide.run("python3 count.py");
    await ide.terminalShows("line 100");
    await page.context().setOffline(true);
    await page.getByRole("alert").getByText("You are offline.").waitFor();
    await page.context().setOffline(false);
    await until("the page to be back", async () => (await ide.connection().textContent()) !== "reconnecting…");
    assertCounted(await ide.terminalShows(/^counted$/m));
    await ide.ends("done");
  });

  await step("a killed server comes back, and nothing is lost", async () => {
    await ide.run("python3 count.py");
    await ide.terminalShows("line 100");
    await world.server.kill();
    await page.getByRole("alert").getByText("Connection lost, reconnecting…").waitFor();
    await page.locator(".cm-content").click();
    await page.keyboard.press("ControlOrMeta+End");
    await page.keyboard.insertText("# typed meanwhile\n");
    await page.keyboard.press("ControlOrMeta+s");
    await page.getByText("/count.py is not saved").waitFor();
    await world.server.start();
    await until("the page to be back", async () => (await ide.connection().textContent()) !== "reconnecting…");
    assertCounted(await ide.terminalShows(/^counted$/m));
    await ide.ends("done");
    await ide.save();
    await page.getByText("/count.py is not saved").waitFor({ state: "detached" });
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

  await step("two tabs of one person see each other's work", async () => {
    const other = await world.anotherTab(page.context());
    await other.page.goto(page.url());
    await other.open("answer.txt");
    await ide.open("answer.txt");
    await other.replaceText("from the other tab\n");
    await other.save();
    await until("the other tab's text", async () => (await ide.editorText()).includes("from the other tab"));
    await other.page.close();
  });

  await step("a session that ends leaves the page and what is not saved", async () => {
    await ide.replaceText("kept\n");
    const cookies = await page.context().cookies();
    await page.context().clearCookies();
    await page.keyboard.press("ControlOrMeta+s");
    await ide.dialog().getByRole("heading", { name: "Your session has ended" }).waitFor();
    await page.context().addCookies(cookies);
    await ide.dialog().getByRole("button", { name: "I have opened my link" }).click();
    await ide.dialog().waitFor({ state: "detached" });
    assert((await ide.editorText()).includes("kept"));
    await page.locator(".cm-content").click();
    await ide.save();
  });
}
