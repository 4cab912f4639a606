import type { DeliveryStatus } from '../../domain/delivery-status.js';

/** What must hold for a delivery to be found; absent is everything, an empty list is nothing. */
export interface DeliveryFilter {
  statuses?: readonly DeliveryStatus[] | undefined;
  /** Types, and patterns in which `*` stands for one or more characters. */
  eventTypes?: readonly string[] | undefined;
  subscriptionId?: string | undefined;
  sourceId?: string | undefined;
  /** The ids of event rows, not the names that their senders gave them. */
  eventIds?: readonly string[] | undefined;
  /** Received then or later, and before: milliseconds. */
  fromMs?: number | undefined;
  toMs?: number | undefined;
  /** Of the last answer, both included. */
  statusCodes?: { least: number; greatest: number } | undefined;
  /** Is in the last error, in whatever case. */
  error?: string | undefined;
  /** All of these stand in the payload. */
  payload?: readonly PayloadValue[] | undefined;
}

export interface PayloadValue {
  /** Names of members, and numbers of elements. */
  path: readonly string[];
  equals: string | number | boolean | null;
}

/** What must hold for an event. */
export interface EventFilter {
  eventType?: string | undefined;
  sourceId?: string | undefined;
  ids?: readonly string[] | undefined;
}
