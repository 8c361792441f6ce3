/** For tests only: hosts that speak the real agent protocol and do the rest in memory, and a fleet around them. */
export { describedApi } from '../app-description.js';
export { fleetMigrations } from '../fleet/migrations.js';
export { type FleetFixture, startFleetFixture } from '../fleet/testing/fleet-fixture.js';
export { type SimulatedAgent, type SimulatedAgentOptions, startSimulatedAgent } from '../fleet/testing/simulated-agent.js';
export { createSimulatedHosts, type SimulatedHosts } from '../fleet/testing/simulated-hosts.js';
export { dialSimulatedStream, echoPlace, type SimulatedPlace } from '../fleet/testing/simulated-streams.js';
export { type Answer, type ControlPlane, startControlPlane } from './control-plane.js';
export { openStateDatabase } from './state-database.js';
export { tableCounts } from './table-counts.js';
