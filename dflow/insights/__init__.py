"""dflow.insights"""
