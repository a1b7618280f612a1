"""dflow.schema"""
