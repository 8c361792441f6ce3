/** Counters the server may collect; every member is called once per event and must not throw. */
export interface EngineMetrics {
  worked?(kind: string, outcome: 'done' | 'wait' | 'gone' | 'failed' | 'interrupted', seconds: number): void;
  runEnded?(workflow: string, state: 'done' | 'undone' | 'stuck', seconds: number): void;
}
