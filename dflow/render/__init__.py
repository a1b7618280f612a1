"""dflow.render"""
