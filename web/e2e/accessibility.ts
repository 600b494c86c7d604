/** Runs axe on what a page shows, in light and in dark. */

import axe from "axe-core";
import type { Page } from "playwright-core";

interface Violation {
  id: string;
  help: string;
  nodes: { target: unknown[]; failureSummary?: string }[];
}

/** Throws with all that is wrong, each with the rule and the element. */
export async function assertAccessible(page: Page, what: string): Promise<void> {
  const found: string[] = [];
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    // A script of the test's own, run by the browser's debugger: the page's policy would refuse it.
    await page.evaluate(axe.source);
    const violations = await page.evaluate(async () => {
      const { axe } = globalThis as unknown as {
        axe: { run(root: Document, options: object): Promise<{ violations: Violation[] }> };
      };
      const tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
      return (await axe.run(document, { runOnly: tags })).violations;
    });
    for (const { id, help, nodes } of violations) {
      for (const node of nodes) {
        found.push(`${colorScheme} ${id}: ${help}\n    ${JSON.stringify(node.target)} ${node.failureSummary ?? ""}`);
      }
    }
  }
  if (found.length > 0) throw new Error(`${what} is not accessible:\n  ${found.join("\n  ")}`);
}
