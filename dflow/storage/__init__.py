"""dflow.storage"""
