import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { assertAccessible } from "../accessibility.ts";
import type { IdePage } from "../ide-page.ts";
import type { World } from "../world.ts";

/** A second person who may only watch, and who is sent away. */
export async function sharing(world: World, ide: IdePage): Promise<void> {
  const { page } = ide;
  const step = world.steps.step.bind(world.steps);
  const watching = await world.person();

  await step("a second user is given access to watch", async () => {
    await world.server.command("token", "create", "--user", "bob");
    await ide.button("Share").click();
    await ide.dialog().getByRole("textbox", { name: "User name" }).fill("bob");
    await ide.dialog().getByRole("button", { name: "Add" }).click();
    await ide.dialog().getByRole("list", { name: "Members" }).getByText("bob").waitFor();
    await assertAccessible(page, "sharing");
    await ide.dialog().getByRole("button", { name: "Done" }).click();
    await ide.open("loop.py");
    await ide.run("python3 loop.py");
    await ide.terminalShows("looping");
    await watching.page.goto(await world.server.command("login", "--user", "bob"));
    await watching.page.goto(world.origin);
    await watching.page.getByText("signed in as bob").waitFor();
    await watching.page.getByText("shared: may watch").waitFor();
    await watching.page.getByRole("link", { name: "journey" }).click();
    await watching.page.getByText("Watching only").waitFor();
    world.steps.watch(watching.page);
  });

  await step("who watches sees the output and can change nothing", async () => {
    await watching.page.getByRole("button", { name: "python3 loop.py" }).first().click();
    await watching.terminalShows("looping");
    for (const name of ["Run", "Stop", "New terminal", "Another terminal", "Share", "New file", "Upload files"]) {
      assert.equal(await watching.button(name).count(), 0, name);
    }
    await watching.open("hello.py");
    await watching.page.getByText("read-only").waitFor();
    assert.equal(await watching.page.locator(".cm-content").getAttribute("contenteditable"), "false");
    await watching.page.locator(".cm-content").focus();
    await watching.page.keyboard.press("ControlOrMeta+f");
    await watching.page.getByRole("textbox", { name: "Find" }).waitFor();
    await watching.page.keyboard.press("Escape");
    const refused = await watching.page.evaluate(async () => {
      const id = location.pathname.split("/")[2];
      const headers = { "content-type": "application/json" };
      const body = JSON.stringify({ command: "id" });
      return (await fetch(`/api/workspaces/${id}/run`, { method: "POST", headers, body })).status;
    });
    assert.equal(refused, 403);
    await assertAccessible(watching.page, "watching");
  });

  await step("access that is taken away ends at once", async () => {
    await page.bringToFront();
    await ide.button("Share").click();
    await ide.dialog().getByRole("button", { name: "Remove bob" }).click();
    await watching.page.getByRole("heading", { name: "Not here" }).waitFor();
    await ide.dialog().getByRole("button", { name: "Done" }).click();
  });

  await step("a link lets the second user edit", async () => {
    await ide.button("Share").click();
    await ide.dialog().getByRole("combobox", { name: "Role of the link" }).selectOption("edit");
    await ide.dialog().getByRole("button", { name: "Make link" }).click();
    const link = await ide.dialog().getByRole("textbox", { name: "Link" }).inputValue();
    await ide.dialog().getByRole("button", { name: "Done" }).click();
    await watching.page.goto(link);
    await watching.button("Open the workspace").click();
    await watching.page.getByRole("heading", { name: "journey" }).waitFor();
    await watching.page.getByRole("button", { name: "python3 loop.py" }).first().click();
    await watching.button("Stop").click();
    await ide.ends("stopped");
  });

  await step("what is written by one whose access is taken away is not lost", async () => {
    await watching.open("hello.py");
    await watching.replaceText("written by bob\n");
    world.steps.watch(page);
    await ide.button("Share").click();
    await ide.dialog().getByRole("button", { name: "Revoke link" }).click();
    await watching.page.getByRole("heading", { name: "Not here" }).waitFor();
    await assertAccessible(watching.page, "access that is gone");
    const [copy] = await Promise.all([
      watching.page.waitForEvent("download"),
      watching.button("Keep a copy of /hello.py").click(),
    ]);
    assert.equal(copy.suggestedFilename(), "hello.py");
    assert.equal(await readFile(await copy.path(), "utf8"), "written by bob\n");
    await ide.dialog().getByRole("button", { name: "Done" }).click();
    await watching.page.context().close();
  });
}
