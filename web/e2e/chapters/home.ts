import assert from "node:assert/strict";
import { assertAccessible } from "../accessibility.ts";
import type { IdePage } from "../ide-page.ts";
import type { World } from "../world.ts";

/** Signing in, and the list of workspaces. */
export async function home(world: World, ide: IdePage, loginUrl: string): Promise<void> {
  const { page } = ide;
  const step = world.steps.step.bind(world.steps);

  await step("without a session the page says how to get one", async () => {
    const answer = await page.goto(world.origin);
    const policy = answer?.headers()["content-security-policy"] ?? "";
    assert.match(policy, /default-src 'self'; script-src 'self';/);
    assert.doesNotMatch(policy, /script-src[^;]*unsafe/);
    await page.getByRole("heading", { name: "Sign in to Playhouse" }).waitFor();
    await assertAccessible(page, "signing in");
  });

  await step("the login link signs in", async () => {
    await page.goto(loginUrl);
    await page.goto(world.origin);
    await page.getByText("signed in as admin").waitFor();
    await page.getByText("No workspaces yet.").waitFor();
    await assertAccessible(page, "the list of workspaces");
  });

  await step("a workspace is created, renamed and deleted", async () => {
    await create(ide, "draft", "node");
    await page.getByRole("link", { name: "All workspaces" }).click();
    await ide.button("Rename draft").click();
    await ide.dialog().getByRole("textbox").fill("arrived ".repeat(20));
    await ide.dialog().getByRole("button", { name: "Rename" }).click();
    await ide.dialog().waitFor({ state: "detached" });
    await page.setViewportSize({ width: 390, height: 844 });
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0);
    await page.setViewportSize({ width: 1280, height: 800 });
    await page.getByRole("button", { name: /^Rename arrived/ }).click();
    await ide.dialog().getByRole("textbox").fill("arrived");
    await ide.dialog().getByRole("button", { name: "Rename" }).click();
    await page.getByRole("link", { name: "arrived" }).waitFor();
    await ide.button("Delete arrived").click();
    await ide.dialog().getByRole("button", { name: "Delete" }).click();
    await page.getByText("No workspaces yet.").waitFor();
  });

  await step("a name that can't be is refused in words", async () => {
    await page.getByRole("textbox", { name: "Name" }).fill("   ");
    await ide.button("Create workspace").click();
    await page.getByRole("alert").waitFor();
    await create(ide, "journey", "python");
    await page.getByText("No files yet.").waitFor();
  });

  await step("without a sandbox the page asks only for what is new, and says when nobody answers", async () => {
    const path = new URL(page.url()).pathname.replace("/w/", "/api/workspaces/");
    await page.waitForResponse((answer) => answer.url().endsWith(path) && answer.status() === 304);
    await page.context().setOffline(true);
    const pill = page.getByRole("alert").getByText("You are offline.");
    await pill.waitFor();
    await page.context().setOffline(false);
    await pill.waitFor({ state: "detached" });
  });
}

async function create(ide: IdePage, name: string, template: string): Promise<void> {
  await ide.page.getByRole("textbox", { name: "Name" }).fill(name);
  await ide.page.getByRole("radio", { name: template }).check();
  await ide.button("Create workspace").click();
  await ide.page.getByRole("heading", { name }).waitFor();
}
