import { Module } from '@nestjs/common';
import { AuditController } from './audit.controller.js';
import { AuditService } from './audit.service.js';

/** The audit log, to be read; what writes it is `src/http/audit-trail.ts`. */
@Module({ controllers: [AuditController], providers: [AuditService] })
export class AuditModule {}
