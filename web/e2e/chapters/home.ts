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
}

async function create(ide: IdePage, name: string, template: string): Promise<void> {
  await ide.page.getByRole("textbox", { name: "Name" }).fill(name);
  await ide.page.getByRole("radio", { name: template }).check();
  await ide.button("Create workspace").click();
  await ide.page.getByRole("heading", { name }).waitFor();
}
