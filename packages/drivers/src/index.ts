/** The drivers that are built in, listed by hand. */
import type { Driver } from '@virt8ra/driver';
import { type AgentFleet, createAgentDriver } from './agent/index.js';

export * from './agent/index.js';

/** What the drivers need of the control plane around them. */
export interface DriverPorts {
  readonly agentFleet: AgentFleet;
}

export function createDrivers(ports: DriverPorts): readonly Driver<unknown>[] {
  return [createAgentDriver(ports.agentFleet)].map(forAnyInput);
}

/** A driver as the list holds it: what `parse` answered is all that `connect` is given. */
function forAnyInput<Config>(driver: Driver<Config>): Driver<unknown> {
  return { ...driver, connect: (config) => driver.connect(driver.parse(config)) };
}
