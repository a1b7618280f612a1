"""dflow.monitor"""
