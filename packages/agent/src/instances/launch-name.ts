/** What the name of a launch says. */
export interface LaunchFacts {
  readonly instance: string;
  readonly epoch: number;
}

/** The name of one start of a guest: its process tells by it which instance it is and under which epoch it was started, when nothing else does. */
export function launchName({ instance, epoch }: LaunchFacts, unique: string): string {
  return `${encodeURIComponent(instance)}.${unique}.${epoch}`;
}

/** Undefined for a name of another form. */
export function factsFromLaunchName(name: string): LaunchFacts | undefined {
  const [, instance, epoch] = /^(.+)\.[0-9a-f-]+\.(\d+)$/.exec(name) ?? [];
  if (instance === undefined) return undefined;
  try {
    return { instance: decodeURIComponent(instance), epoch: Number(epoch) };
  } catch {
    return undefined;
  }
}
