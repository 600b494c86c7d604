/** Makes a piece of work that never runs twice at a time: asked while it runs, it runs once more afterwards. */
export function coalesce(work: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | null = null;
  let again = false;
  const loop = async (): Promise<void> => {
    do {
      again = false;
      await work();
    } while (again);
  };
  return () => {
    if (running === null) {
      running = loop().finally(() => {
        running = null;
      });
    } else {
      again = true;
    }
    return running;
  };
}
