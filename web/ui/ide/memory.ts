/** What was open, so that a reload of the page shows it again. It lasts as long as the browser's tab. */

export interface Memory {
  files: string[];
  activeFile: string | null;
  terminals: string[];
  activeTerminal: string | null;
}

const EMPTY: Memory = { files: [], activeFile: null, terminals: [], activeTerminal: null };

export function recall(workspaceId: string): Memory {
  try {
    const value: unknown = JSON.parse(sessionStorage.getItem(`playhouse:${workspaceId}`) ?? "null");
    return typeof value === "object" && value !== null ? { ...EMPTY, ...value } : EMPTY;
  } catch {
    return EMPTY;
  }
}

export function remember(workspaceId: string, memory: Memory): void {
  try {
    sessionStorage.setItem(`playhouse:${workspaceId}`, JSON.stringify(memory));
  } catch {
    // A full or forbidden store only costs the memory.
  }
}
