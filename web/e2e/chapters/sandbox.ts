import { assertAccessible } from "../accessibility.ts";
import type { IdePage } from "../ide-page.ts";
import { until } from "../until.ts";
import type { World } from "../world.ts";

/** A sandbox that is suspended, woken, ended and made anew. */
export async function sandbox(world: World, ide: IdePage): Promise<void> {
  const { page } = ide;
  const step = world.steps.step.bind(world.steps);
  const bar = page.getByRole("status", { name: "Sandbox" });
  const open = () => page.getByRole("button", { name: /^Sandbox: / }).click();

  await step("a suspended sandbox says so, and is woken", async () => {
    await open();
    await ide.dialog().getByText("hardened-container").waitFor();
    await assertAccessible(page, "the sandbox");
    await ide.dialog().getByRole("button", { name: "Suspend" }).click();
    await ide.dialog().getByRole("button", { name: "Done" }).click();
    await bar.getByText("The sandbox is suspended.").waitFor();
    await bar.getByRole("button", { name: "Resume" }).click();
    await bar.waitFor({ state: "detached" });
    await ide.terminalTab("bash").click();
    await ide.type("clear; echo awake\r");
    await ide.terminalShows(/^awake$/m);
  });

  await step("an ended sandbox says why, and is made anew", async () => {
    await open();
    await ide.dialog().getByRole("button", { name: "End sandbox…" }).click();
    await ide.dialog().getByRole("button", { name: "End it and all that runs" }).click();
    await bar.getByText("The sandbox has ended: it was stopped.").waitFor();
    await ide.dialog().getByRole("button", { name: "Done" }).click();
    await bar.getByRole("button", { name: "Restart sandbox" }).click();
    await until("a live sandbox", async () => /^(idle|running)$/.test((await ide.connection().textContent()) ?? ""));
    await bar.waitFor({ state: "detached" });
    await ide.newTerminal();
    await ide.type("cat hello.py\r");
    await ide.terminalShows(/name = input/);
  });
}
