/** For buttons that start something: a double click, which many make of habit, starts it once. */
export function once(act: () => void): (event: MouseEvent) => void {
  return (event) => {
    if (event.detail < 2) act();
  };
}
