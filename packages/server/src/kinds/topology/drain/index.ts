export { drainMigrations, forgetMoves, movesOfRun } from './moves.js';
export { drainPlanOf, surveyHost, wishOf } from './survey.js';
export { createDrainWorkflow, type DrainInput, isDraining } from './workflow.js';
