/** The drivers that are built in, listed by hand. */
import type { Driver } from '@virt8ra/driver';
import type { HttpWay } from './_http/way.js';
import { type AgentFleet, createAgentDriver } from './agent/index.js';
import { createOpenStackDriver } from './openstack/index.js';

export type { HttpLine, HttpMethod, HttpQuestion, HttpWay } from './_http/way.js';
export * from './agent/index.js';

/** What the drivers need of the control plane around them. */
export interface DriverPorts {
  readonly agentFleet: AgentFleet;
  readonly http: HttpWay;
}

export function createDrivers(ports: DriverPorts): readonly Driver<unknown>[] {
  return [forAnyInput(createAgentDriver(ports.agentFleet)), forAnyInput(createOpenStackDriver(ports.http))];
}

/** A driver as the list holds it: `connect` is given what `parse` answered, and nothing else. */
function forAnyInput<Config>(driver: Driver<Config>): Driver<unknown> {
  return { ...driver, connect: (config) => driver.connect(config as Config) };
}
